SELECT stream_seq, event_index, request_id, attempt, reason
FROM releases
WHERE stream_seq BETWEEN $first AND $last
