package proxy

import "testing"

// Another client's request must not be sent on a connection that NTLM or Negotiate has
// authenticated for a user.
func TestPlainConnectionOfAVouchedUserIsNotShared(t *testing.T) {
	for _, credentials := range []string{"NTLM TlRMTVNTUAAB", "negotiate YIIFZA"} {
		t.Run(credentials, func(t *testing.T) {
			p := newPlainTest(t)
			first, vouched, _ := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nAuthorization: " + credentials + "\r\n\r\n")
			vouched.send(okHello)
			first.expect(helloHere)

			second, fresh, _ := p.exchange(simpleGet) // on a connection of its own
			fresh.send(okHello)
			second.expect(helloHere)

			first.send(p.fill(simpleGet)) // on the connection of the login
			vouched.head()
			vouched.send(okHello)
			first.expect(helloHere)

			first.Close()
			vouched.ended()
		})
	}
}

func TestPlainConnectionIsSharedWithOtherCredentials(t *testing.T) {
	p := newPlainTest(t)
	first, origin, _ := p.exchange("GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\n\r\n")
	origin.send(okHello)
	first.expect(helloHere)
	second := p.begin(simpleGet)
	origin.head()
	origin.send(okHello)
	second.expect(helloHere)
}
