package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

const (
	// writing is what is done to files in the folders of names.
	writing landlock.AccessFSSet = ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSRemoveFile

	// writingFile is the part of it that concerns a single file.
	writingFile landlock.AccessFSSet = ll.AccessFSWriteFile | ll.AccessFSTruncate

	// taken is what is not allowed elsewhere, nor, beyond writing, in these folders.
	taken = writing | ll.AccessFSExecute | ll.AccessFSRemoveDir | ll.AccessFSMakeChar | ll.AccessFSMakeDir | ll.AccessFSMakeFifo |
		ll.AccessFSMakeBlock | ll.AccessFSMakeSym
)

// Apply restricts this process, with all its threads, for good. names are the files and
// folders that it writes, which exist already or whose folders do; removed are files that
// it will only remove. What the kernel does not have is left out, as Status says. An error means that the restrictions in Status
// are on and the others are not.
func Apply(names, removed []string) (s Status, err error) {
	defer func() {
		if p := recover(); p != nil { // psx, if the threads do not agree
			err = fmt.Errorf("the sandbox is not on in all threads: %v", p)
		}
	}()
	// The kernel dumps no core of a process that is not dumpable, and lets only a
	// privileged one trace it, or look at its memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return s, os.NewSyscallError("prctl PR_SET_DUMPABLE", err)
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return s, os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", errno)
	}
	s.Hardened = true
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return s, nil // as in a kernel without it, or in a container that hides it
	}
	folders, files := places(names)
	rules := []landlock.Rule{landlock.PathAccess(writing, folders...), landlock.PathAccess(writingFile, files...)}
	if len(removed) > 0 {
		var from []string
		for _, name := range removed {
			from = append(from, filepath.Dir(name))
		}
		rules = append(rules, landlock.PathAccess(landlock.AccessFSSet(ll.AccessFSRemoveFile), from...))
	}
	if err := (landlock.Config{HandledAccessFS: taken}).BestEffort().RestrictPaths(rules...); err != nil {
		return s, fmt.Errorf("landlock: %w", err)
	}
	s.Landlock, s.Folders, s.Files = version, folders, files
	return s, nil
}
