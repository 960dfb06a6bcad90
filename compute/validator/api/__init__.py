"""The validator's HTTP interface: published weights for anybody, rentals for tenants."""
