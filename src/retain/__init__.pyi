from .errors import (
    InputError as InputError,
    MergeError as MergeError,
    RetainError as RetainError,
    TargetError as TargetError,
    TrainingError as TrainingError,
)
from .hf.adapters.accelerate import accelerate as accelerate, decelerate as decelerate
from .hf.adapters.load import load_adapter as load_adapter
from .hf.adapters.swap import swap_adapter as swap_adapter
from .jobs.export.deliver import Exported as Exported
from .jobs.export.export import export as export
from .jobs.guard import Guard as Guard, guard as guard
from .jobs.judge.judge import judge as judge
from .jobs.measure import measure as measure
from .jobs.scale import scale as scale
from .jobs.self_generated import self_generated as self_generated
from .methods.initialisations.adapter import CalibrationWarning as CalibrationWarning, sc_lora as sc_lora
from .methods.initialisations.config import SCLoRAConfig as SCLoRAConfig
from .methods.lorfa.config import LoRFAConfig as LoRFAConfig
from .methods.lorfa.layer import LoRFAModel as LoRFAModel
from .methods.rotation.config import RotationConfig as RotationConfig
from .methods.rotation.layer import RotationModel as RotationModel
from .methods.sparse.config import SparseConfig as SparseConfig
from .methods.sparse.update import sparse_update as sparse_update
from .methods.vefa.config import VeFAConfig as VeFAConfig
from .methods.vefa.layer import VeFAModel as VeFAModel
from .recipe import Budget as Budget
from .records.result import Result as Result, read_result as read_result
from .report.tracked import tracked_figures as tracked_figures
from .train.regularise.distillation import Distillation as Distillation, TeacherLogits as TeacherLogits
from .train.regularise.feature_penalty import FeatureDivergence as FeatureDivergence
from .train.regularise.feature_penalty import FeaturePenalty as FeaturePenalty
from .train.regularise.ewc import EWC as EWC
from .train.regularise.fisher import fisher_diagonal as fisher_diagonal
from .train.regularise.kl_monitor import KLMonitor as KLMonitor, RetentionWarning as RetentionWarning
from .train.regularise.kl_penalty import KLPenalty as KLPenalty, text_batches as text_batches
from .train.regularise.probes import cluster_centres as cluster_centres, text_prototypes as text_prototypes
from .train.regularise.replay import mix_replay as mix_replay
from .train.regularise.update_limit import UpdateLimit as UpdateLimit

__version__: str
