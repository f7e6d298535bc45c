"""Training: tissue that knows its truth, data sets, fitting and measuring of scoring models."""
