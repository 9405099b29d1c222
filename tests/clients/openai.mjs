// What a program with the JavaScript SDK does: node openai.mjs MODULE BASE_URL; prints one JSON document.
const [, , module, baseURL] = process.argv;
const { default: OpenAI } = await import(module);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60000 });
const model = "scripted";
const ask = (content) => [{ role: "user", content }];
const said = {};

said.models = (await client.models.list()).data.map((card) => card.id);

const stream = client.chat.completions.stream({ model, messages: ask("hello") });
said.streamed = await stream.finalContent();

const whole = await client.chat.completions.create({ model, messages: ask("hello"), user: "me" });
said.whole = whole.choices[0].message.content;
said.noted = whole.firesteel.noted;

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const runner = client.chat.completions.runTools({
  model,
  stream: true,
  messages: ask("What is the weather?"),
  tools: [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "The weather.",
        parameters,
        parse: JSON.parse,
        function: (found) => {
          said.tool = { name: "get_weather", arguments: found };
          return `rain in ${found.city}`;
        },
      },
    },
  ],
});
said.after_tool = await runner.finalContent();

const schema = { type: "object", properties: { ok: { const: true } }, required: ["ok"], additionalProperties: false };
const formatted = await client.chat.completions.create({
  model,
  messages: ask("hello"),
  response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } },
});
said.parsed = JSON.parse(formatted.choices[0].message.content);

const completion = await client.completions.create({ model, prompt: "hello", max_tokens: 40 });
said.completion = completion.choices[0].text;

try {
  await client.chat.completions.create({ model, messages: ask("hello"), temperature: 9 });
} catch (error) {
  said.error = [error.status, error.param];
}

const leaving = await client.chat.completions.create({ model, messages: ask("hello"), stream: true });
for await (const chunk of leaving) {
  said.left_early = chunk.choices.length === 1;
  break;
}

console.log(JSON.stringify(said));
