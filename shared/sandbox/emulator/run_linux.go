package emulator

import (
	"os/exec"
	"runtime"
	"syscall"
)

// run starts cmd so that it dies with this process, however this process ends. The kernel watches the thread that started
// it, so that thread is kept until the emulator has ended.
func run(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is always killed
			close(done)
		}
	}()
	return done, <-started
}
