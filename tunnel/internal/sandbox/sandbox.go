// Package sandbox takes from this process what a server never needs once it serves: to
// leave a core dump, to be traced, to gain privileges, to execute a program, and to write
// files elsewhere than where it was told to.
//
// It promises that reading stays allowed everywhere, since names, certificates, users and
// tickets may be replaced by symbolic link and by rename while the process runs, that
// sockets and descriptors that are open stay as they are, and that all threads are
// restricted alike. What it takes cannot be given back, and children would inherit it:
// they have to be started before.
//
// It imports nothing of this module, and does nothing but on Linux.
package sandbox

import (
	"os"
	"path/filepath"
	"slices"
)

// Status says what is on.
type Status struct {
	Hardened bool // no core dumps, no tracing by others, no new privileges
	Landlock int  // the version of Landlock's interface that the kernel has; 0 = none, so files and programs are not restricted
	Folders  []string
	Files    []string // with Folders, where files can be written; sorted
}

// places returns the folders and files in which each of names can be written, created
// anew, and removed. A name of a folder stands for itself, that of a device or FIFO
// for this file alone, and any other for its folder. If it is a symbolic link, the place
// that it leads to counts too.
func places(names []string) (folders, files []string) {
	for _, name := range names {
		path, err := filepath.Abs(name)
		if err != nil {
			continue // there is no working directory, so that it cannot be opened either
		}
		paths := []string{path}
		if leads, err := filepath.EvalSymlinks(path); err == nil && leads != path {
			paths = append(paths, leads)
		}
		info, err := os.Stat(path)
		for _, path := range paths {
			switch {
			case err == nil && info.IsDir():
				folders = append(folders, path)
			case err == nil && info.Mode()&(os.ModeDevice|os.ModeNamedPipe) != 0:
				files = append(files, path)
			default:
				folders = append(folders, filepath.Dir(path))
			}
		}
	}
	slices.Sort(folders)
	slices.Sort(files)
	return slices.Compact(folders), slices.Compact(files)
}
