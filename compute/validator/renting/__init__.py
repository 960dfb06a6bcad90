"""Renting out to tenants: offers, orders, events, webhooks, and time credited for outages."""
