"""Every setting of `firesteel serve` in one table, and how its value is found: file, environment, flags."""
