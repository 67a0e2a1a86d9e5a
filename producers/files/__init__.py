"""Files of departments: from bytes to statements and refused rows; `import_file` is the whole way."""
