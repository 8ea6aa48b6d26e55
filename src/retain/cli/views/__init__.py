"""Rich views of records, each within 100 columns of a terminal: tables, colours, bold. Texts and figures come from `retain.report`."""
