//go:build race

package sim

// histories are fewer under the race detector, which makes each ten times as long.
const histories = 200
