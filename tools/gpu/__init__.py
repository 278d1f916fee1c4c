"""What tools/gpu_suite is made of."""
