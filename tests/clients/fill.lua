-- Does in Neovim what the plugin llama.vim does (which no registry has): it reads `g:llama_config`, asks the endpoint by
-- curl for what belongs at the cursor, and inserts it. Run by test_neovim.py; prints the error where there is one.
local config = vim.g.llama_config
vim.api.nvim_buf_set_lines(0, 0, -1, false, { "def add(a, b):", "    return ", "", "print(add(1, 2))" })
vim.api.nvim_win_set_cursor(0, { 2, 11 })

local lines, row = vim.api.nvim_buf_get_lines(0, 0, -1, false), 2
local request = {
  input_prefix = table.concat(lines, "\n", 1, row - 1) .. "\n",
  input_suffix = "\n" .. table.concat(lines, "\n", row + 1) .. "\n",
  input_extra = { { text = "x = 1", filename = "other.py", time = 1.5 } },
  prompt = lines[row],
  n_predict = 64,
  n_indent = 4,
  top_k = 40,
  top_p = 0.9,
  samplers = { "top_k", "top_p", "infill" },
  stream = false,
  cache_prompt = true,
  t_max_prompt_ms = 500,
  t_max_predict_ms = 1000,
  response_fields = { "content", "timings/prompt_n" },
  model = config.model_fim,
}
local command = { "curl", "--silent", "--no-buffer", "--request", "POST", "--url", config.endpoint_fim }
vim.list_extend(command, { "--header", "Content-Type: application/json", "--data", "@-" })
if config.api_key ~= "" then
  vim.list_extend(command, { "--header", "Authorization: Bearer " .. config.api_key })
end
local done = vim.system(command, { stdin = vim.json.encode(request), text = true }):wait()
local answer = vim.json.decode(done.stdout)
if not answer.content then
  io.stdout:write(done.stdout)
  vim.cmd("cquit 1")
end
vim.api.nvim_put(vim.split(answer.content, "\n"), "c", true, true)
vim.cmd("write! " .. vim.fn.fnameescape(vim.env.FILLED))
vim.cmd("quit!")
