"""Cases (异议, 更正, 更新, 修复): the fold of their events, and the terms of their steps."""
