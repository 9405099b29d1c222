"""The rules, one file per class of weakness; `catalogue` puts them together."""
