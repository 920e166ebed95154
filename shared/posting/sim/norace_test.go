//go:build !race

package sim

// histories take some ten seconds; scripts/sim runs any number.
const histories = 9000
