package resolve

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// systemSearch returns the DNS suffixes of the network connections that are up.
func systemSearch() searchList {
	list := searchList{ndots: 1}
	for size := uint32(15 << 10); ; { // the size that the documentation recommends
		buf := make([]byte, size)
		first := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0]))
		switch windows.GetAdaptersAddresses(windows.AF_UNSPEC, windows.GAA_FLAG_SKIP_ANYCAST|windows.GAA_FLAG_SKIP_MULTICAST, 0, first, &size) {
		case nil:
		case windows.ERROR_BUFFER_OVERFLOW:
			if size > uint32(len(buf)) {
				continue
			}
			return list
		default:
			return list
		}
		for a := first; a != nil; a = a.Next {
			suffix := windows.UTF16PtrToString(a.DnsSuffix)
			if a.OperStatus == windows.IfOperStatusUp && suffix != "" && !slices.Contains(list.domains, suffix) {
				list.domains = append(list.domains, suffix)
			}
		}
		return list
	}
}
