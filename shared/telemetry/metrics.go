package telemetry

// Kind says how the values of a metric are put together.
type Kind string

// The kinds. On Google Cloud the Telemetry API keeps a metric NAME as the type prometheus.googleapis.com/NAME/KIND of the
// resource prometheus_target, whose job is the function and whose instance is the process, and leaves names as they are
// (https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/v1.metrics); in PromQL it is NAME, and a histogram
// NAME_bucket, NAME_count and NAME_sum.
const (
	Counter   Kind = "counter"   // grows while a process lives
	Gauge     Kind = "gauge"     // as last seen
	Histogram Kind = "histogram" // counts by size
)

// Metric declares one metric. Labels have few values each: never an id of a person, a Book or a connection.
type Metric struct {
	Name   string
	Kind   Kind
	Unit   string // of OpenTelemetry: "s" for seconds, "1" for counts
	Says   string
	Labels []string
}

// The names of all metrics. They do not change: alerts and dashboards are written against them.
const (
	// Requests counts what every function answers. Labels: function; route, such as "connect/complete"; status, such as
	// "503"; code of the problem, "" for a success.
	Requests = "portal_requests_total"

	// Events counts messages that were pushed to a function. Labels: function; outcome, which is "done" (acknowledged),
	// "refused" (it comes again, and in the end is a dead letter) or "malformed" (nobody can read it).
	Events = "portal_events_total"

	// EventAge is the time, in seconds, from the publication of a message to the end of its handling: for the rings from a
	// webhook, from the bank's call to the draft. Label: function.
	EventAge = "portal_event_age_seconds"

	// SyncLag is for how many seconds the connection that waits longest has been due, as each run of sync finds it; 0 where
	// none is. Some seconds to a minute is usual, more than some runs of sync is not.
	SyncLag = "portal_sync_lag_seconds"

	// SyncRung is for how many the last run of sync rang; 1,000 is all that it can in one run. Label: sort, which is
	// "connections", "sessions" or "disconnections".
	SyncRung = "portal_sync_rung"

	// Syncs counts how the poster's work on a connection ended. Labels: provider; outcome, which is "done", "unfinished" (out
	// of time; it goes on at once), "overtaken" (its lease had ended, and another goes on), "store" (our database failed; the
	// event comes again) or the kind of the error ("user_must_act", "retry", "retry_after", "permanent", "our_fault"); code of
	// the error, the provider's or ours.
	Syncs = "portal_syncs_total"

	// Trouble is how many connections cannot be read, counted by each run of sync. Label: reason, which is "needs_user" (its
	// owner must sign in at the bank again) or "failing" (three failures in a row or more).
	Trouble = "portal_connections_trouble"

	// Expiring is how many connections have a consent at the bank that ends within 14 days, counted by each run of sync.
	Expiring = "portal_consents_expiring"

	// Webhooks counts webhooks. Labels: provider; outcome, which is "taken", "forged" (refused: not the provider's),
	// "malformed" (refused: cannot be read), "unverified" (the keys could not be had; the provider calls again) or "unkept"
	// (it could not be published; the provider calls again).
	Webhooks = "portal_webhooks_total"

	// Calls is the time, in seconds, of calls to services outside. Labels: service, which is the host; operation, which is
	// the path with ids taken out; status, "0" where there was no answer.
	Calls = "portal_call_seconds"
)

// Metrics is the table of all metrics.
var Metrics = []Metric{
	{Requests, Counter, "1", "Requests that functions answered", []string{"function", "route", "status", "code"}},
	{Events, Counter, "1", "Messages that were pushed to functions", []string{"function", "outcome"}},
	{EventAge, Histogram, "s", "From the publication of a message to the end of its handling", []string{"function"}},
	{SyncLag, Gauge, "s", "For how long the connection that waits longest has been due", nil},
	{SyncRung, Gauge, "1", "What the last run of sync rang for", []string{"sort"}},
	{Syncs, Counter, "1", "How work on connections ended", []string{"provider", "outcome", "code"}},
	{Trouble, Gauge, "1", "Connections that cannot be read", []string{"reason"}},
	{Expiring, Gauge, "1", "Connections whose consent ends within 14 days", nil},
	{Webhooks, Counter, "1", "Webhooks by what became of them", []string{"provider", "outcome"}},
	{Calls, Histogram, "s", "Calls to services outside", []string{"service", "operation", "status"}},
}
