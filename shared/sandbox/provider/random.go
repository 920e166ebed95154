package provider

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// NewRand returns a generator whose numbers cannot be foretold.
func NewRand() *rand.Rand {
	var seed [32]byte
	for i := 0; i < len(seed); i += 8 {
		binary.LittleEndian.PutUint64(seed[i:], rand.Uint64())
	}
	return rand.New(rand.NewChaCha8(seed))
}

// UUID makes one of the version 4 from a generator, so that a seed repeats it.
func UUID(r *rand.Rand) string {
	hi, lo := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)
}
