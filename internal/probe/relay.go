package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"consilium/internal/event"
	"consilium/internal/pionlog"
)

// allocate asks the relay for one allocation and gives it back. It finds what
// ICE would only call silence: a closed port, a wrong certificate, a refused
// credential.
func (p *prober) allocate(ctx context.Context, over *relay) (event.Code, error) {
	ctx, cancel := p.step(ctx)
	defer cancel()
	conn, server, err := p.dialRelay(ctx, over)
	if err != nil {
		return event.NoRoute, err
	}
	defer conn.Close()
	// The end of ctx ends the wait for an answer.
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: server, Conn: conn, Username: over.username, Password: over.password,
		LoggerFactory: pionlog.New(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return event.NoRoute, fmt.Errorf("make a TURN client: %w", err)
	}
	defer client.Close()
	if err := client.Listen(); err != nil {
		return event.NoRoute, fmt.Errorf("listen to the relay: %w", err)
	}
	allocation, err := client.Allocate()
	if err == nil {
		return "", allocation.Close()
	}
	if ctx.Err() != nil {
		return event.NoRoute, ctx.Err()
	}
	// Pion keeps the number of the error in its text only.
	if strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "Unauthorized") {
		return event.TURNAuth, errors.New("the relay refuses the credentials; compare the clocks of the servers and turn.secret")
	}
	return event.NoRoute, fmt.Errorf("the relay refuses: %w", err)
}

// dialRelay opens the transport to the relay as a packet connection, and says
// what the relay's address is on it.
func (p *prober) dialRelay(ctx context.Context, over *relay) (net.PacketConn, string, error) {
	if over.Proto == stun.ProtoTypeUDP {
		return listenFor(ctx, over.address())
	}
	conn, err := p.dialStream(ctx, over)
	if err != nil {
		return nil, "", err
	}
	return turn.NewSTUNConn(conn), conn.RemoteAddr().String(), nil
}

// listenFor opens a UDP socket of the family in which this machine reaches an
// address, and resolves that: the TURN client asks for a relay of its socket's
// family.
func listenFor(ctx context.Context, address string) (net.PacketConn, string, error) {
	route, err := (&net.Dialer{}).DialContext(ctx, "udp", address) // sends nothing
	if err != nil {
		return nil, "", fmt.Errorf("look up the relay: %w", err)
	}
	defer route.Close()
	network := "udp6"
	if local, ok := route.LocalAddr().(*net.UDPAddr); ok && local.IP.To4() != nil {
		network = "udp4"
	}
	conn, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, "", fmt.Errorf("open a socket: %w", err)
	}
	return conn, route.RemoteAddr().String(), nil
}

// dialStream connects to the relay by TCP, and TLS if its URI says so.
func (p *prober) dialStream(ctx context.Context, over *relay) (net.Conn, error) {
	conn, err := p.dial(ctx, over.address())
	if err != nil || over.Scheme != stun.SchemeTypeTURNS {
		return conn, err
	}
	secure := p.tls.Clone()
	secure.ServerName, secure.NextProtos = over.Host, nil
	inside := tls.Client(conn, secure)
	if err := inside.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return inside, nil
}

// relayDialer connects Pion to the relay. Pion itself knows neither our roots
// nor a proxy for TLS.
type relayDialer struct {
	p    *prober
	ctx  context.Context // of the step: the interface has none
	over *relay
}

// Dial implements proxy.Dialer of golang.org/x/net.
func (d relayDialer) Dial(_, _ string) (net.Conn, error) { return d.p.dialStream(d.ctx, d.over) }
