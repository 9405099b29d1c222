"""`firesteel chat`: a conversation in the terminal that can be steered while it is written."""
