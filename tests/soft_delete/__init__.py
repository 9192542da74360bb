"""Soft delete: what reads show and what writes leave alone."""
