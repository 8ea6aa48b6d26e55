"""The row that its author writes into `retain.methods.table`; here it is run before all else in a process."""

from retain.methods import table

table.METHODS += (
    table.FeatureMethod(
        name="unifa",
        title="UniFA",
        summary="scales all input features alike: W0((1 + λ) x)",
        learning_rate=7e-3,
        code="unifa.layer:UniFAModel",
    ),
)
