"""Code generation for the CPU: LLVM text, machine code, threads, and the native call path."""
