"""Who may call, how much, and what it cost: keys, limits and the ledger."""
