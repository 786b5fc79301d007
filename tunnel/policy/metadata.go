package policy

import "net/netip"

// metadataService is an address from which a cloud, or the agent of one on the same
// host, hands out what only the machine or the container itself should have: its
// credentials, its user data, its place in the cloud.
type metadataService struct {
	addr   netip.Addr
	owner  string
	source string // where the address is documented
}

// metadataServices are the addresses of ClassMetadata. Most of them lie in ranges that
// an operator allows for other reasons: link-local, private or shared address space.
var metadataServices = [...]metadataService{
	metadata("169.254.169.254", "AWS EC2, Google Cloud, Azure, OpenStack and most others", "AWS EC2 User Guide: Access instance metadata for an EC2 instance"),
	metadata("fd00:ec2::254", "AWS EC2", "AWS EC2 User Guide: Access instance metadata for an EC2 instance"),
	metadata("169.254.170.2", "AWS ECS tasks", "AWS ECS Developer Guide: Task IAM role"),
	metadata("169.254.170.23", "AWS EKS Pod Identity agent", "AWS EKS User Guide: Set up the Amazon EKS Pod Identity Agent"),
	metadata("fd00:ec2::23", "AWS EKS Pod Identity agent", "AWS EKS User Guide: Set up the Amazon EKS Pod Identity Agent"),
	metadata("fd20:ce::254", "Google Cloud", "Google Compute Engine: About VM metadata"),
	metadata("169.254.169.252", "Google Kubernetes Engine, workload identity", "Google Kubernetes Engine: network policies with Workload Identity Federation, port 988"),
	metadata("168.63.129.16", "Azure wire server", "Azure Virtual Network: What is IP address 168.63.129.16?"),
	metadata("fd00:c1::a9fe:a9fe", "Oracle Cloud", "oracle/oci-python-sdk, auth/signers/instance_principals_security_token_signer.py"),
	metadata("192.0.0.192", "Oracle Cloud Classic", "Oracle Cloud at Customer: Retrieving Instance Metadata"),
	metadata("100.100.100.200", "Alibaba Cloud", "Alibaba ECS: View instance metadata"),
	metadata("fd00:100::100:200", "Alibaba Cloud", "canonical/cloud-init, sources/DataSourceAliYun.py"),
	metadata("169.254.0.23", "Tencent Cloud", "Tencent CVM: Instance metadata, by the name metadata.tencentyun.com"),
	metadata("100.96.0.96", "Volcano Engine", "volcengine/cello, pkg/provider: iam/security_credentials"),
	metadata("100.80.80.80", "UCloud", "UCloud UHost: metadata server"),
	metadata("169.254.42.42", "Scaleway", "canonical/cloud-init, doc/rtd/reference/datasources/scaleway.rst"),
	metadata("fd00:42::42", "Scaleway", "canonical/cloud-init, doc/rtd/reference/datasources/scaleway.rst"),
	metadata("fd00:a9fe:a9fe::1", "Akamai (Linode)", "canonical/cloud-init, doc/rtd/reference/datasources/akamai.rst"),
	metadata("fe80::a9fe:a9fe", "OpenStack", "OpenStack Neutron: Metadata service over IPv6"),
	metadata("169.254.169.250", "Rancher 1", "Rancher 1.6: Metadata Service"),
}

func metadata(addr, owner, source string) metadataService {
	return metadataService{netip.MustParseAddr(addr), owner, source}
}

// isMetadata reports whether addr, which has no zone, is that of a metadata service.
func isMetadata(addr netip.Addr) bool {
	for i := range metadataServices {
		if metadataServices[i].addr == addr {
			return true
		}
	}
	return false
}
