"""The demo's task: file a customer's message as a ticket of one form. The messages are those of the tickets' asset.

The products are named here, so that the demo needs nothing but what pip installs. No product is in train and test.
"""

from __future__ import annotations

from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.rows import write
from retain_assets.text import shuffled
from retain_assets.tickets import ticket

SEED = 35
TEST = 40
FOLDER = "support"

PRODUCTS = (
    "alarm clock, armchair, backpack, baking tray, bath mat, bathrobe, battery charger, bedside lamp, belt, bicycle "
    "helmet, bicycle pump, binoculars, blender, board game, bookcase, boots, bottle opener, bread knife, briefcase, "
    "broom, bucket, cable, cake tin, calculator, camera, camping stove, can opener, candle, car seat, cardigan, "
    "carpet, casserole, ceiling fan, chess set, chopping board, coat, coat rack, coffee grinder, coffee machine, "
    "colander, computer mouse, cookbook, cooler bag, corkscrew, cot, cup, curtain rail, cushion, deck chair, "
    "dehumidifier, desk, desk lamp, diary, digital piano, dinner plate, dish rack, dishwasher, doorbell, doormat, "
    "drawer unit, dress, drill, drum kit, dustpan, duvet, earrings, electric kettle, electric shaver, espresso cup, "
    "external drive, eye mask, fan heater, fish tank, flashlight, flower pot, folding table, food processor, "
    "football, footstool, fountain pen, frying pan, garden bench, garden hose, garlic press, glass jar, gloves, "
    "golf bag, guitar, hair dryer, hammer, hammock, hand mixer, handbag, hand towel, hat, headphones, hiking pole, "
    "hoodie, ice bucket, iron, ironing board, jacket, jeans, jewellery box, jigsaw puzzle, juice extractor, "
    "keyboard, kitchen scale, kite, knife block, ladder, lampshade, laptop sleeve, laundry basket, lawn mower, "
    "letter opener, lunch box, luggage strap, magnifying glass, mattress, measuring cup, medicine cabinet, memory "
    "card, microphone, microwave, milk jug, mirror, monitor, mosquito net, mug, music stand, nail clipper, "
    "necklace, night light, notebook, nutcracker, oil painting, oven glove, paint roller, paper shredder, pasta "
    "maker, pencil case, pepper mill, phone case, photo album, picnic basket, picture frame, pillow, pizza stone, "
    "plant stand, pocket knife, poncho, portable radio, power bank, pressure cooker, printer, projector, purse, "
    "raincoat, razor, record player, reading glasses, rice cooker, router, rucksack, rug, running shoes, salad "
    "bowl, sandals, saucepan, saw, scarf, scissors, screwdriver, sewing machine, shelf, shower curtain, side table, "
    "skateboard, skirt, sledge, sleeping bag, slippers, smoke alarm, snorkel, soap dish, sofa, speaker, stapler, "
    "steam cleaner, suitcase, sunglasses, sweater, swimsuit, table cloth, table lamp, teapot, tennis racket, tent, "
    "thermometer, thermos flask, tie, toaster, tool box, toothbrush, towel rail, tripod, trousers, t-shirt, "
    "umbrella, vacuum cleaner, vase, violin, waffle iron, waistcoat, wallet, wall clock, wardrobe, washing machine, "
    "watch, watering can, webcam, wheelbarrow, wine glass, winter coat, wok, wool blanket, wrench, yoga mat"
)


def make(staging: Path) -> dict[str, object]:
    """Write `support/train.jsonl` and `support/test.jsonl`."""
    products = shuffled(PRODUCTS.split(", "), SEED)
    rows = [ticket(product, shifted=False) for product in products]
    folder = staging / FOLDER
    return {"train": write(folder / "train.jsonl", rows[TEST:]), "test": write(folder / "test.jsonl", rows[:TEST])}


SUPPORT = Asset(
    name="support",
    package=None,
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source="messages written for retain",
    licence="that of retain",
)
