"""Competing methods, one file each, under the contract of `vml_bench.contract.Method`."""
