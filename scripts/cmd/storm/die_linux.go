package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs lets the kernel kill cmd when this process ends, however it ends. The kernel watches the thread that starts cmd.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
