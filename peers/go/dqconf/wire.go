package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/canonical/go-dqlite/client"
)

// The protocol by hand, for what the driver cannot be made to say.

const (
	reqLeader    = 0
	reqClient    = 1
	reqOpen      = 3
	reqPrepare   = 4
	reqExec      = 5
	reqQuery     = 6
	reqFinalize  = 7
	reqExecSQL   = 8
	reqQuerySQL  = 9
	reqInterrupt = 10

	resFailure = 0
	resServer  = 1
	resWelcome = 2
	resDb      = 4
	resStmt    = 5
	resResult  = 6
	resRows    = 7
	resEmpty   = 8

	versionOne    = 1
	versionLegacy = 0x86104dd760433fe5

	markDone = 0xffffffffffffffff
	markMore = 0xeeeeeeeeeeeeeeee
)

// body builds and reads message bodies.
type body struct{ b []byte }

func (m *body) word(v uint64) *body { m.b = binary.LittleEndian.AppendUint64(m.b, v); return m }

func (m *body) half(v uint32) *body { m.b = binary.LittleEndian.AppendUint32(m.b, v); return m }

func (m *body) text(s string) *body {
	m.b = append(append(m.b, s...), 0)
	return m.pad()
}

func (m *body) pad() *body {
	for len(m.b)%8 != 0 {
		m.b = append(m.b, 0)
	}
	return m
}

// ints adds a parameter tuple of integers in the given schema.
func (m *body) ints(schema uint8, values ...int64) *body {
	if schema == 0 {
		m.b = append(m.b, byte(len(values)))
	} else {
		m.half(uint32(len(values)))
	}
	for range values {
		m.b = append(m.b, 1)
	}
	m.pad()
	for _, v := range values {
		m.word(uint64(v))
	}
	return m
}

type answer struct {
	kind, schema uint8
	b            []byte
}

func (a *answer) word() uint64 {
	v := binary.LittleEndian.Uint64(a.b)
	a.b = a.b[8:]
	return v
}

func (a *answer) half() uint32 {
	v := binary.LittleEndian.Uint32(a.b)
	a.b = a.b[4:]
	return v
}

func (a *answer) text() string {
	for i, c := range a.b {
		if c == 0 {
			s := string(a.b[:i])
			a.b = a.b[(i+8)/8*8:]
			return s
		}
	}
	panic("endless text")
}

// expect checks the answer's kind.
func (a *answer) expect(kind uint8) error {
	if a.kind == kind {
		return nil
	}
	if a.kind == resFailure {
		c, text := a.word(), a.text()
		return fmt.Errorf("got FAILURE %d %q, want an answer of type %d", c, text, kind)
	}
	return fmt.Errorf("got an answer of type %d, want %d", a.kind, kind)
}

// failure checks that the answer is FAILURE with one of these codes.
func (a *answer) failure(codes ...uint64) error {
	if a.kind != resFailure {
		return fmt.Errorf("got an answer of type %d, want FAILURE %v", a.kind, codes)
	}
	got, text := a.word(), a.text()
	for _, c := range codes {
		if got == c {
			return nil
		}
	}
	return fmt.Errorf("got FAILURE %d %q, want %v", got, text, codes)
}

// wire is a connection without a driver.
type wire struct{ net.Conn }

func dial(address string, version uint64) (*wire, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := client.DefaultDialFunc(ctx, address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	w := &wire{conn}
	_, err = w.Write((&body{}).word(version).b)
	return w, err
}

func (w *wire) send(kind, schema uint8, m *body) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(m.b)/8))
	_, err := w.Write(append(append(head, kind, schema, 0, 0), m.b...))
	return err
}

func (w *wire) recv() (*answer, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(w, head); err != nil {
		return nil, err
	}
	a := &answer{kind: head[4], schema: head[5], b: make([]byte, 8*int(binary.LittleEndian.Uint32(head)))}
	_, err := io.ReadFull(w, a.b)
	return a, err
}

func (w *wire) ask(kind, schema uint8, m *body) (*answer, error) {
	if err := w.send(kind, schema, m); err != nil {
		return nil, err
	}
	return w.recv()
}

// open opens a database on the leader.
func (s *suite) wire(run func(*wire) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	address, err := s.leader(ctx)
	if err != nil {
		return err
	}
	w, err := dial(address, versionOne)
	if err != nil {
		return err
	}
	defer w.Close()
	return run(w)
}

func (s *suite) opened(run func(*wire) error) error {
	return s.wire(func(w *wire) error {
		a, err := w.ask(reqOpen, 0, openBody(s.name))
		if err != nil {
			return err
		}
		if err := a.expect(resDb); err != nil {
			return err
		}
		return run(w)
	})
}

func openBody(name string) *body { return (&body{}).text(name).word(0).text("volatile") }

func sqlBody(sql string) *body { return (&body{}).word(0).text(sql) }

func leaderBody() *body { return (&body{}).word(0) }

// exec runs SQL that must succeed.
func (w *wire) exec(sql string) error {
	a, err := w.ask(reqExecSQL, 0, sqlBody(sql))
	if err != nil {
		return err
	}
	return a.expect(resResult)
}

// alive checks that the connection still answers, with exactly the answer to this question.
func (w *wire) alive() error {
	a, err := w.ask(reqLeader, 0, leaderBody())
	if err != nil {
		return fmt.Errorf("the connection is of no use any more: %w", err)
	}
	return a.expect(resServer)
}

// closed checks that the server closes the connection without a further word.
func (w *wire) closed() error {
	n, err := w.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 {
		return errors.New("the server sent more")
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the server did not close the connection")
	}
	return nil
}

// part is one ROWS message whose values are all integers.
type part struct {
	columns []string
	rows    [][]int64
	size    int
	more    bool
}

func readPart(a *answer) (*part, error) {
	if err := a.expect(resRows); err != nil {
		return nil, err
	}
	p := &part{size: len(a.b)}
	for n := a.word(); n > 0; n-- {
		p.columns = append(p.columns, a.text())
	}
	for {
		if len(a.b) < 8 {
			return nil, errors.New("a part without an end marker")
		}
		switch binary.LittleEndian.Uint64(a.b) {
		case markDone, markMore:
			p.more = a.word() == markMore
			return p, expect("bytes after the marker", len(a.b), 0)
		}
		head := a.b[:(len(p.columns)+15)/16*8]
		a.b = a.b[len(head):]
		row := make([]int64, len(p.columns))
		for i := range row {
			if t := head[i/2] >> (4 * (i % 2)) & 0xf; t != 1 {
				return nil, fmt.Errorf("column %d has type %d, want 1", i, t)
			}
			row[i] = int64(a.word())
		}
		p.rows = append(p.rows, row)
	}
}
