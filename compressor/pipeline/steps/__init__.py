"""The steps of a run, each from files to files. No step calls another.

Their order is in `compressor.pipeline.step_list`; what makes files for the device is in `files`.
"""
