// Package telemetry gives spans and numbers to whoever watches the functions, in OpenTelemetry's protocol. It is off unless
// it is told where to send them.
package telemetry
