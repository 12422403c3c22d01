// Cost of one call through the circuit breakers that npm carries, beside the same call without one.
// Prints a JSON line each: {"name", "ns"}. Both libraries only guard asynchronous functions, so the bare await is
// part of their figures; it is measured too, and the difference is what the breaker itself costs.
//
//     node peers.js [SECONDS PER FIGURE]
'use strict';

const CircuitBreaker = require('opossum');
const { circuitBreaker, handleAll, ConsecutiveBreaker, SamplingBreaker } = require('cockatiel');

const seconds = Number(process.argv[2] ?? 1);
const work = async () => 1;

async function measure(name, call) {
  const rounds = [];
  const until = performance.now() + seconds * 1000;
  const batch = 20000;
  for (let i = 0; i < batch; i++) await call();
  while (performance.now() < until || rounds.length < 5) {
    const began = performance.now();
    for (let i = 0; i < batch; i++) await call();
    rounds.push(((performance.now() - began) * 1e6) / batch);
  }
  rounds.sort((a, b) => a - b);
  console.log(JSON.stringify({ name, ns: rounds[rounds.length >> 1] }));
}

async function main() {
  await measure('bare await', work);

  const opossum = new CircuitBreaker(work, { timeout: false, errorThresholdPercentage: 50, volumeThreshold: 20 });
  await measure('opossum', () => opossum.fire());
  opossum.shutdown();

  const consecutive = circuitBreaker(handleAll, { halfOpenAfter: 30000, breaker: new ConsecutiveBreaker(5) });
  await measure('cockatiel, consecutive', () => consecutive.execute(work));

  const sampling = circuitBreaker(handleAll, {
    halfOpenAfter: 30000,
    breaker: new SamplingBreaker({ threshold: 0.5, duration: 10000, minimumRps: 2 }),
  });
  await measure('cockatiel, sampling', () => sampling.execute(work));
}

main();
