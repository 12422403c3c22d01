// node-postgres and postgres.js through the proxy: `node drivers.js URL CA_FILE`. Prints a line for
// each thing that was done; the exit status is 1 after the first that was not done right.

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const postgres = require('postgres');

const [url, ca] = process.argv.slice(2);
const LARGE = 'l'.repeat(3_000_000);

async function with_client(options, work) {
  const client = new pg.Client({ connectionString: url, ...options });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const checks = {
  async 'pg: a simple query'() {
    await with_client({}, async (client) => {
      const { rows } = await client.query("SELECT 1 AS a, 'b' AS b");
      assert.deepEqual(rows, [{ a: 1, b: 'b' }]);
    });
  },

  async 'pg: named statements, prepared once and run often by several clients'() {
    const one = (n) => with_client({}, async (client) => {
      for (let i = 0; i < 20; i++) {
        const { rows } = await client.query(
          { name: 'add', text: 'SELECT $1::int + $2::int AS sum', values: [i, n] });
        assert.equal(rows[0].sum, i + n);
      }
    });
    await Promise.all([1, 2, 3, 4, 5].map(one));
  },

  async 'pg: an error leaves the client usable'() {
    await with_client({}, async (client) => {
      await assert.rejects(client.query('SELECT $1::int / 0', [1]), { code: '22012' });
      await assert.rejects(client.query({ name: 'bad', text: 'SELEC' }), { code: '42601' });
      assert.equal((await client.query('SELECT 2 AS x')).rows[0].x, 2);
    });
  },

  async 'pg: a transaction'() {
    await with_client({}, async (client) => {
      await client.query('BEGIN');
      await client.query("INSERT INTO driver VALUES (1, 'rolled back')");
      await client.query('ROLLBACK');
      const { rows } = await client.query('SELECT count(*)::int AS n FROM driver');
      assert.equal(rows[0].n, 0);
    });
  },

  async 'pg: COPY in and out'() {
    await with_client({}, async (client) => {
      const lines = Array.from({ length: 20000 }, (_, i) => `${i}\tvalue ${i}\n`);
      await client.query('BEGIN');
      await pipeline(Readable.from(lines), client.query(copy.from('COPY driver FROM STDIN')));
      let text = '';
      const out = client.query(copy.to('COPY (SELECT * FROM driver ORDER BY id) TO STDOUT'));
      for await (const chunk of out) text += chunk;
      await client.query('ROLLBACK');
      assert.equal(text, lines.join(''));
    });
  },

  async 'pg: a cursor read in pieces'() {
    await with_client({}, async (client) => {
      const cursor = client.query(new Cursor('SELECT generate_series(1, 500) AS i'));
      let seen = 0;
      for (let rows = await cursor.read(70); rows.length > 0; rows = await cursor.read(70)) {
        for (const row of rows) assert.equal(row.i, ++seen);
      }
      await cursor.close();
      assert.equal(seen, 500);
    });
  },

  async 'pg: a large value both ways'() {
    await with_client({}, async (client) => {
      const { rows } = await client.query('SELECT $1::text AS v', [LARGE]);
      assert.equal(rows[0].v, LARGE);
    });
  },

  async 'pg: TLS, the certificate verified'() {
    const ssl = { ca: fs.readFileSync(ca), servername: 'localhost' };
    await with_client({ ssl }, async (client) => {
      assert.ok(client.connection.stream.encrypted);
      const { rows } = await client.query('SELECT length($1) AS n', [LARGE]);
      assert.equal(rows[0].n, LARGE.length);
    });
  },

  async 'pg: a cancel'() {
    await with_client({}, async (client) => {
      const sleeping = client.query('SELECT pg_sleep(30)');
      const refused = assert.rejects(sleeping, { code: '57014' });
      setTimeout(() => {
        const canceller = new pg.Client({ connectionString: url });
        canceller.connection.on('connect', () =>
          canceller.connection.cancel(client.processID, client.secretKey));
        canceller.connection.on('error', () => {});
        canceller.connection.connect(client.port, client.host);
      }, 300);
      await refused;
      assert.equal((await client.query('SELECT 3 AS x')).rows[0].x, 3);
    });
  },

  async 'pg: a pool of ten with a hundred queries at once'() {
    const pool = new pg.Pool({ connectionString: url, max: 10 });
    const found = await Promise.all(Array.from({ length: 100 }, (_, i) =>
      pool.query({ name: `q${i % 7}`, text: `SELECT $1::int AS i, ${i % 7} AS k`, values: [i] })));
    found.forEach(({ rows }, i) => assert.deepEqual(rows, [{ i, k: i % 7 }]));
    await pool.end();
  },

  async 'postgres.js: queries pipelined over one connection'() {
    const sql = postgres(url, { max: 1, onnotice() {} });
    const found = await Promise.all(Array.from({ length: 200 }, (_, i) =>
      sql`SELECT ${i}::int AS i, ${'v' + i}::text AS v`));
    found.forEach((rows, i) => assert.deepEqual([...rows], [{ i, v: 'v' + i }]));
    await sql.end();
  },

  async 'postgres.js: a transaction with an error, a savepoint and a cursor'() {
    const sql = postgres(url, { max: 2, onnotice() {} });
    await assert.rejects(sql.begin(async (tx) => {
      await tx`INSERT INTO driver VALUES (2, 'never')`;
      await tx`SELECT 1 / ${0}::int`;
    }), { code: '22012' });
    let seen = 0;
    await sql.begin(async (tx) => {
      await tx.savepoint((sp) => sp`SELECT nothing`).catch(() => {});
      await tx`SELECT generate_series(1, 100) AS i`.cursor(7, (rows) => { seen += rows.length; });
    });
    assert.equal(seen, 100);
    assert.equal((await sql`SELECT count(*)::int AS n FROM driver`)[0].n, 0);
    await sql.end();
  },

  async 'postgres.js: a cancel'() {
    const sql = postgres(url, { max: 1, onnotice() {} });
    const sleeping = sql`SELECT pg_sleep(30)`.execute();
    setTimeout(() => sleeping.cancel(), 300);
    await assert.rejects(sleeping, { code: '57014' });
    assert.equal((await sql`SELECT 4 AS x`)[0].x, 4);
    await sql.end();
  },
};

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`not ok ${name}: ${error.stack}`);
      process.exit(1);
    }
  }
}

main();
