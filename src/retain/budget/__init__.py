"""The forgetting budget: control data, certificates, evidence."""
