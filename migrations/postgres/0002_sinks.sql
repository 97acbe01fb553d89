-- Where events and alerts go. A webhook sink takes events, an e-mail sink alerts; an empty list of kinds means all of them.
-- `failures` and `resume_at` pace the sink as a whole: a consumer that is down is asked again later, not once per event.
CREATE TABLE sinks (
    id         UUID PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('webhook', 'email')),
    name       TEXT NOT NULL,
    url        TEXT,
    secret     BYTEA,
    recipients TEXT NOT NULL DEFAULT '[]',
    kinds      TEXT NOT NULL DEFAULT '[]',
    failures   BIGINT NOT NULL DEFAULT 0,
    resume_at  BIGINT NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    CHECK ((kind = 'webhook') = (url IS NOT NULL AND secret IS NOT NULL))
);

-- One event or alert on its way to one sink. Within a stream the next waits for the one before it.
CREATE TABLE event_deliveries (
    id              UUID PRIMARY KEY,
    sink_id         UUID NOT NULL REFERENCES sinks (id),
    event_id        UUID REFERENCES events (id) ON DELETE CASCADE,
    alert_id        UUID REFERENCES alerts (id) ON DELETE CASCADE,
    stream          UUID NOT NULL,
    sequence        BIGINT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead', 'discarded')),
    attempts        BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL,
    last_status     BIGINT,
    last_error      TEXT,
    created_at      BIGINT NOT NULL,
    finished_at     BIGINT,
    UNIQUE (sink_id, event_id),
    UNIQUE (sink_id, alert_id),
    CHECK ((event_id IS NULL) <> (alert_id IS NULL))
);
CREATE INDEX event_deliveries_due ON event_deliveries (sink_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX event_deliveries_order ON event_deliveries (sink_id, created_at, sequence) WHERE status = 'pending';
CREATE INDEX event_deliveries_dead ON event_deliveries (id) WHERE status = 'dead';
CREATE INDEX event_deliveries_by_event ON event_deliveries (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX event_deliveries_by_alert ON event_deliveries (alert_id) WHERE alert_id IS NOT NULL;

-- Whether every sink that wants to know of an alert has its delivery.
ALTER TABLE alerts ADD COLUMN routed BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX alerts_unrouted ON alerts (id) WHERE routed = FALSE;
