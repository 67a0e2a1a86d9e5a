"""Identifiers of subjects: 统一社会信用代码 (GB 32100), and resident identity numbers (GB 11643), to be masked."""
