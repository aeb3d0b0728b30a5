"""The listeners: one file per type, a folder where a bus has several parts."""
