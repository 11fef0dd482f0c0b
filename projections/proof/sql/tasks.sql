SELECT stream_seq, event_index, request_id, attempt, provider, provider_task_id
FROM tasks
WHERE stream_seq BETWEEN $first AND $last
