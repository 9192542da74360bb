"""Tests of partitions, retention and archives."""
