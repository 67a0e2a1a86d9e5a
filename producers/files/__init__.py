"""Files of departments: from bytes to statements and refused rows; `import_file` runs all steps."""
