SELECT stream, max(last) AS last, toUnixTimestamp64Milli(max(last_time)) AS last_time_ms FROM sink_ranges GROUP BY stream
