// A hot loop with calls of several levels, builtins that call back (sort, replace, JSON), and rests between.
'use strict';

function mix(value, rounds) {
  for (let step = 0; step < rounds; step++) value = (Math.imul(value, 1664525) + step) | 0;
  return value;
}

function sortSome(values) {
  return values.slice().sort((a, b) => mix(a, 2) - mix(b, 2))[0];
}

function textSome(values) {
  return JSON.stringify(values).replace(/[0-9]{3}/g, (digits) => String(mix(+digits, 3))).length;
}

function outer() {
  const values = Array.from({ length: 64 }, () => (Math.random() * 1e9) | 0);
  const kind = Math.random();
  return kind < 0.3 ? sortSome(values) : kind < 0.6 ? textSome(values) : mix(values[0], 20000);
}

function turn() {
  for (let rounds = Math.random() * 100; rounds > 0; rounds--) outer();
  setTimeout(turn, Math.random() * 2);
}

setTimeout(() => process.exit(1), 180000).unref();
// What is compiled once it is hot is compiled by now.
for (let warm = 0; warm < 20000; warm++) outer();
console.log(`ready ${process.pid}`);
turn();
