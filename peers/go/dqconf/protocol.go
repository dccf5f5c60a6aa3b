package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func protocolChecks() []check {
	return []check{
		{name: "client-is-welcomed", run: clientIsWelcomed},
		{name: "legacy-handshake", run: legacyHandshake},
		{name: "unknown-version-is-closed", run: unknownVersion},
		{name: "unknown-request-is-refused", run: unknownRequest, unsafe: "dqlite 1.11 never answers it"},
		{name: "unknown-schema-is-refused", run: unknownSchema, known: "1.11 does not look at the schema"},
		{name: "cut-off-body-is-refused", run: cutOffBody, known: "1.11 closes the connection"},
		{name: "unknown-parameter-type-is-refused", run: unknownParameterType},
		{name: "empty-body-is-refused", run: emptyBody, unsafe: "dqlite never answers a message without a body"},
		{name: "oversized-body-is-refused", run: oversizedBody, unsafe: "dqlite 1.11 ends with a segmentation fault"},
		{name: "request-in-pieces", run: requestInPieces},
		{name: "no-database-opened", run: noDatabase},
		{name: "second-open-is-refused", run: secondOpen},
		{name: "open-on-a-follower-is-refused", run: openOnFollower, known: "1.11 refuses the first statement instead"},
		{name: "empty-statement", run: emptyStatement},
		{name: "statement-tail-is-refused", run: statementTail, known: "1.11 ignores the tail"},
		{name: "statement-tail-is-reported", run: statementTailReported, known: "1.11 has no schema 1 of PREPARE"},
		{name: "unknown-statement", run: unknownStatement},
		{name: "finalized-statement-is-gone", run: finalizedStatement},
		{name: "several-statements-in-one-exec", run: severalStatements, known: "1.11 binds all parameters to the first statement"},
		{name: "rows-from-exec-are-refused", run: rowsFromExec, known: "1.11 has code 100"},
		{name: "several-statements-in-one-query-are-refused", run: severalInQuery, known: "1.11 ignores the tail"},
		{name: "300-parameters", run: manyParameters, known: "1.11 answers with code 0"},
		{name: "too-few-parameters-are-null", run: tooFewParameters},
		{name: "rows-in-parts", run: rowsInParts},
		{name: "no-rows", run: noRows},
		{name: "no-columns", run: noColumns, known: "1.11 answers with code 0"},
		{name: "seventeen-columns", run: seventeenColumns},
		{name: "interrupt-of-nothing", run: interruptNothing},
		{name: "interrupt-of-a-stream", run: interruptStream},
		{name: "a-client-that-leaves", run: clientThatLeaves},
	}
}

func clientIsWelcomed(s *suite) error {
	return s.wire(func(w *wire) error {
		a, err := w.ask(reqClient, 0, (&body{}).word(0))
		if err != nil {
			return err
		}
		return first(a.expect(resWelcome), expect("heartbeat timeout", a.word(), uint64(15000)))
	})
}

func legacyHandshake(s *suite) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	address, err := s.leader(ctx)
	if err != nil {
		return err
	}
	w, err := dial(address, versionLegacy)
	if err != nil {
		return err
	}
	defer w.Close()
	a, err := w.ask(reqLeader, 0, leaderBody())
	if err != nil {
		return err
	}
	return first(a.expect(resServer), expect("leader", a.text(), address), expect("rest", len(a.b), 0))
}

func unknownVersion(s *suite) error {
	w, err := dial(s.servers[0], 2)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.send(reqLeader, 0, leaderBody()); err != nil {
		return nil
	}
	return w.closed()
}

func unknownRequest(s *suite) error {
	return s.wire(func(w *wire) error {
		a, err := w.ask(99, 0, leaderBody())
		if err != nil {
			return err
		}
		return first(a.failure(1005), w.alive())
	})
}

func unknownSchema(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqExecSQL, 7, sqlBody("SELECT 1"))
		if err != nil {
			return err
		}
		return first(a.failure(1001, 1005), w.alive())
	})
}

func cutOffBody(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqExecSQL, 0, &body{append((&body{}).word(0).b, "12345678"...)})
		if err != nil {
			return err
		}
		return first(a.failure(1005), w.alive())
	})
}

func unknownParameterType(s *suite) error {
	return s.opened(func(w *wire) error {
		m := sqlBody("SELECT ?")
		m.b = append(m.b, 1, 8)
		a, err := w.ask(reqQuerySQL, 0, m.pad().word(0))
		if err != nil {
			return err
		}
		return first(a.failure(1005), w.alive())
	})
}

func emptyBody(s *suite) error {
	return s.wire(func(w *wire) error {
		a, err := w.ask(reqLeader, 0, &body{})
		if err != nil {
			return err
		}
		return first(a.failure(1005), w.alive())
	})
}

func oversizedBody(s *suite) error {
	return s.wire(func(w *wire) error {
		if _, err := w.Write([]byte{0xff, 0xff, 0xff, 0xff, reqExecSQL, 0, 0, 0}); err != nil {
			return err
		}
		if a, err := w.recv(); err == nil {
			if err := a.failure(1001, 1005); err != nil {
				return err
			}
		}
		return w.closed()
	})
}

func requestInPieces(s *suite) error {
	return s.wire(func(w *wire) error {
		message := append([]byte{0, 0, 0, 0, reqOpen, 0, 0, 0}, openBody(s.name).b...)
		message[0] = byte(len(message)/8 - 1)
		for _, b := range message {
			if _, err := w.Write([]byte{b}); err != nil {
				return err
			}
		}
		a, err := w.recv()
		if err != nil {
			return err
		}
		return a.expect(resDb)
	})
}

func noDatabase(s *suite) error {
	return s.wire(func(w *wire) error {
		for _, kind := range []uint8{reqExecSQL, reqQuerySQL, reqPrepare} {
			a, err := w.ask(kind, 0, sqlBody("SELECT 1"))
			if err != nil {
				return err
			}
			if err := a.failure(12); err != nil {
				return err
			}
		}
		return w.alive()
	})
}

func secondOpen(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqOpen, 0, openBody(s.name))
		if err != nil {
			return err
		}
		return first(a.failure(5), w.alive())
	})
}

func openOnFollower(s *suite) error {
	if len(s.servers) < 2 {
		return skipped("needs a follower")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	leader, err := s.leader(ctx)
	if err != nil {
		return err
	}
	for _, address := range s.servers {
		if address == leader {
			continue
		}
		w, err := dial(address, versionOne)
		if err != nil {
			return err
		}
		a, err := w.ask(reqOpen, 0, openBody(s.name))
		if err == nil {
			err = first(a.failure(10250), w.alive())
		}
		w.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	return nil
}

func emptyStatement(s *suite) error {
	return s.opened(func(w *wire) error {
		for _, sql := range []string{"", "  ", "-- only a comment"} {
			a, err := w.ask(reqPrepare, 0, sqlBody(sql))
			if err != nil {
				return err
			}
			if err := a.failure(0); err != nil {
				return fmt.Errorf("%q: %w", sql, err)
			}
		}
		return w.alive()
	})
}

func statementTail(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqPrepare, 0, sqlBody("SELECT 1; SELECT 2"))
		if err != nil {
			return err
		}
		return first(a.failure(1), w.alive())
	})
}

func statementTailReported(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqPrepare, 1, sqlBody("SELECT 1; SELECT 2"))
		if err != nil {
			return err
		}
		if err := a.expect(resStmt); err != nil {
			return err
		}
		a.word()
		return first(expect("schema", a.schema, uint8(1)), expect("parameters", a.word(), uint64(0)), expect("tail", a.word(), uint64(9)))
	})
}

func unknownStatement(s *suite) error {
	return s.opened(func(w *wire) error {
		for _, kind := range []uint8{reqExec, reqQuery, reqFinalize} {
			a, err := w.ask(kind, 0, (&body{}).half(0).half(77))
			if err != nil {
				return err
			}
			if err := a.failure(12); err != nil {
				return err
			}
		}
		return w.alive()
	})
}

// prepare gives a statement's id.
func (w *wire) prepare(sql string) (uint32, error) {
	a, err := w.ask(reqPrepare, 0, sqlBody(sql))
	if err != nil {
		return 0, err
	}
	if err := a.expect(resStmt); err != nil {
		return 0, err
	}
	a.half()
	return a.half(), nil
}

func finalizedStatement(s *suite) error {
	return s.opened(func(w *wire) error {
		id, err := w.prepare("SELECT 1")
		if err != nil {
			return err
		}
		a, err := w.ask(reqFinalize, 0, (&body{}).half(0).half(id))
		if err != nil {
			return err
		}
		if err := a.expect(resEmpty); err != nil {
			return err
		}
		a, err = w.ask(reqQuery, 0, (&body{}).half(0).half(id))
		if err != nil {
			return err
		}
		return a.failure(12)
	})
}

func severalStatements(s *suite) error {
	return s.opened(func(w *wire) error {
		if err := w.exec("DROP TABLE IF EXISTS t; CREATE TABLE t(a, b)"); err != nil {
			return err
		}
		sql := "INSERT INTO t VALUES(?, ?); INSERT INTO t VALUES(?, 0); UPDATE t SET b = b + ?;"
		a, err := w.ask(reqExecSQL, 0, sqlBody(sql).ints(0, 1, 2, 3, 10))
		if err != nil {
			return err
		}
		if err := a.expect(resResult); err != nil {
			return err
		}
		a.word()
		if err := expect("rows affected by the last one", a.word(), uint64(2)); err != nil {
			return err
		}
		rows, err := w.ints("SELECT a, b FROM t ORDER BY a")
		if err != nil {
			return err
		}
		return expect("rows", rows, [][]int64{{1, 12}, {3, 10}})
	})
}

// ints gives all rows of a query whose values are integers.
func (w *wire) ints(sql string) ([][]int64, error) {
	rows := [][]int64{}
	if err := w.send(reqQuerySQL, 0, sqlBody(sql)); err != nil {
		return nil, err
	}
	for {
		a, err := w.recv()
		if err != nil {
			return nil, err
		}
		p, err := readPart(a)
		if err != nil {
			return nil, err
		}
		rows = append(rows, p.rows...)
		if !p.more {
			return rows, nil
		}
	}
}

func rowsFromExec(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqExecSQL, 0, sqlBody("SELECT 1"))
		if err != nil {
			return err
		}
		return first(a.failure(1), w.alive())
	})
}

func severalInQuery(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqQuerySQL, 0, sqlBody("SELECT 1; SELECT 2"))
		if err != nil {
			return err
		}
		return first(a.failure(1), w.alive())
	})
}

func manyParameters(s *suite) error {
	return s.opened(func(w *wire) error {
		sql, values, sum := "SELECT 0", []int64{}, int64(0)
		for i := int64(1); i <= 300; i++ {
			sql, values, sum = sql+"+?", append(values, i), sum+i
		}
		a, err := w.ask(reqQuerySQL, 1, sqlBody(sql).ints(1, values...))
		if err != nil {
			return err
		}
		p, err := readPart(a)
		if err != nil {
			return err
		}
		return expect("sum", p.rows, [][]int64{{sum}})
	})
}

func tooFewParameters(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqQuerySQL, 0, sqlBody("SELECT ?1 + coalesce(?2, 40)").ints(0, 2))
		if err != nil {
			return err
		}
		p, err := readPart(a)
		if err != nil {
			return err
		}
		return expect("rows", p.rows, [][]int64{{42}})
	})
}

func series(n int) string {
	return fmt.Sprintf("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s", n)
}

func rowsInParts(s *suite) error {
	return s.opened(func(w *wire) error {
		if err := w.send(reqQuerySQL, 0, sqlBody(series(20000))); err != nil {
			return err
		}
		parts, next := 0, int64(1)
		for {
			a, err := w.recv()
			if err != nil {
				return err
			}
			p, err := readPart(a)
			if err != nil {
				return err
			}
			parts++
			if err := expect("columns of a part", p.columns, []string{"n"}); err != nil {
				return err
			}
			if p.size > 4096+16+16 {
				return fmt.Errorf("a part of %d bytes", p.size)
			}
			for _, row := range p.rows {
				if row[0] != next {
					return fmt.Errorf("row %d where %d belongs", row[0], next)
				}
				next++
			}
			if !p.more {
				break
			}
		}
		if parts < 20000*16/4200 {
			return fmt.Errorf("only %d parts", parts)
		}
		return first(expect("rows", next-1, int64(20000)), w.alive())
	})
}

func noRows(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqQuerySQL, 0, sqlBody("SELECT 1 AS one, 2 AS two WHERE 0"))
		if err != nil {
			return err
		}
		p, err := readPart(a)
		if err != nil {
			return err
		}
		return first(expect("columns", p.columns, []string{"one", "two"}), expect("rows", len(p.rows), 0), expect("more", p.more, false))
	})
}

func noColumns(s *suite) error {
	return s.opened(func(w *wire) error {
		a, err := w.ask(reqQuerySQL, 0, sqlBody("CREATE TABLE IF NOT EXISTS u(a)"))
		if err != nil {
			return err
		}
		p, err := readPart(a)
		if err != nil {
			return err
		}
		return first(expect("columns", len(p.columns), 0), w.exec("INSERT INTO u VALUES(1)"))
	})
}

func seventeenColumns(s *suite) error {
	return s.opened(func(w *wire) error {
		sql, want := "SELECT 1", []int64{1}
		for i := int64(2); i <= 17; i++ {
			sql, want = fmt.Sprintf("%s, %d", sql, i), append(want, i)
		}
		rows, err := w.ints(sql)
		if err != nil {
			return err
		}
		return expect("rows", rows, [][]int64{want})
	})
}

func interruptNothing(s *suite) error {
	return s.opened(func(w *wire) error {
		for i := 0; i < 3; i++ {
			a, err := w.ask(reqInterrupt, 0, leaderBody())
			if err != nil {
				return err
			}
			if err := first(a.expect(resEmpty), w.alive()); err != nil {
				return err
			}
		}
		return nil
	})
}

func interruptStream(s *suite) error {
	return s.opened(func(w *wire) error {
		for i := 0; i < 5; i++ {
			if err := w.send(reqQuerySQL, 0, sqlBody(series(200000))); err != nil {
				return err
			}
			if _, err := w.recv(); err != nil {
				return err
			}
			if err := w.send(reqInterrupt, 0, leaderBody()); err != nil {
				return err
			}
			for {
				a, err := w.recv()
				if err != nil {
					return err
				}
				if a.kind == resEmpty {
					break
				}
				if a.kind != resRows {
					return fmt.Errorf("an answer of type %d", a.kind)
				}
			}
			// Exactly one EMPTY: the next answer is the next request's.
			if err := w.alive(); err != nil {
				return err
			}
		}
		return w.exec("CREATE TABLE IF NOT EXISTS after(a)")
	})
}

func clientThatLeaves(s *suite) error {
	for i := 0; i < 20; i++ {
		err := s.opened(func(w *wire) error {
			// It neither reads the rows nor says good-bye.
			return w.send(reqQuerySQL, 0, sqlBody(series(200000)))
		})
		if err != nil {
			return err
		}
	}
	if err := s.opened((*wire).alive); err != nil {
		return errors.New("the server did not take it well: " + err.Error())
	}
	return nil
}
