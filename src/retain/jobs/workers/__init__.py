"""Runs spread over processes and machines: one interface, done here, by processes of this machine, or by Ray."""
