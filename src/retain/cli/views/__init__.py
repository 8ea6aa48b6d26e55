"""Rich views of records, each within 100 columns; texts and figures come from `retain.report`."""
