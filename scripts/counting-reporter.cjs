/**
 * mocha's spec reporter, and at the end the counts appended to the file in $ROLLCALL_COUNTS as one line,
 * `passed failed skipped`, so that several runs can be added up. A mocha reporter has to be a CommonJS class.
 */
const { appendFileSync } = require('node:fs')
const { reporters } = require('mocha')

module.exports = class Counting extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    runner.once('end', () => {
      const { passes = 0, failures = 0, pending = 0 } = this.stats
      const file = process.env.ROLLCALL_COUNTS
      if (file) appendFileSync(file, `${passes} ${failures} ${pending}\n`)
    })
  }
}
