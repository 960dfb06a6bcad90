"""Histories of the databases: one folder of revisions for each role, one environment for both."""
