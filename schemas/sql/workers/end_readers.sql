SELECT lifted FROM xinliu.end_readers(
    make_interval(secs => %(statement_timeout)s), make_interval(secs => %(idle_in_transaction_session_timeout)s),
    make_interval(secs => %(transaction_timeout)s)
) lifted
