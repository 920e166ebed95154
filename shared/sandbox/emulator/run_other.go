//go:build !linux

package emulator

import "os/exec"

// run starts cmd. Where this process ends without Stop, the emulator goes on.
func run(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is always killed
		close(done)
	}()
	return done, nil
}
