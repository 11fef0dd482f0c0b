SELECT stream_seq, event_index, request_id, attempt, asked_nano, generation_id
FROM losses
WHERE stream_seq BETWEEN $first AND $last
