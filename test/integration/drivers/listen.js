// LISTEN and NOTIFY by node-postgres and postgres.js: `node listen.js URL CHANNEL`. Prints the name
// of each driver that got what was notified, in order.

'use strict';

const assert = require('node:assert/strict');
const pg = require('pg');
const postgres = require('postgres');

const [url, channel] = process.argv.slice(2);
const PAYLOADS = ['one', 'two', 'three'];

async function with_pg() {
  const listener = new pg.Client({ connectionString: url });
  const sender = new pg.Client({ connectionString: url });
  await listener.connect();
  await sender.connect();
  const found = [];
  const all = new Promise((resolve) => {
    listener.on('notification', (message) => {
      found.push(message.payload);
      if (found.length === PAYLOADS.length) resolve();
    });
  });
  await listener.query(`LISTEN ${channel}`);
  for (const payload of PAYLOADS) {
    await sender.query('SELECT pg_notify($1, $2)', [channel, payload]);
  }
  await all;
  await listener.query(`UNLISTEN ${channel}`);
  assert.deepEqual(found, PAYLOADS);
  await listener.end();
  await sender.end();
}

async function with_postgres() {
  const sql = postgres(url);
  const found = [];
  let done;
  const all = new Promise((resolve) => { done = resolve; });
  const { unlisten } = await sql.listen(channel, (payload) => {
    found.push(payload);
    if (found.length === PAYLOADS.length) done();
  });
  for (const payload of PAYLOADS) await sql.notify(channel, payload);
  await all;
  await unlisten();
  assert.deepEqual(found, PAYLOADS);
  await sql.end();
}

async function main() {
  await with_pg();
  console.log('pg');
  await with_postgres();
  console.log('postgres');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
